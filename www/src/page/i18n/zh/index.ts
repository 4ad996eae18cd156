// Everything the page says, in Simplified Chinese. Fetched by those who read it.
import { methods } from './methods.ts';
import { views } from './views.ts';
import { words } from './words.ts';

const texts = { ...views, ...words };

export default { texts, methods };
