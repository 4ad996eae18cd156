// The engine in this very thread, with both of its modules at hand.
import './glue.ts';

export { Engine } from './engine.ts';
