// The Worker: the engine, behind comlink.
import { expose } from 'comlink';
import { Engine } from './engine.ts';
import './transfer.ts';

expose(new Engine());
