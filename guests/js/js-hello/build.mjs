// usage: node build.mjs WIT-FOLDER OUTPUT
import { writeFile } from 'node:fs/promises';
import { componentize } from '@bytecodealliance/componentize-js';

const [witPath, output] = process.argv.slice(2);
const { component } = await componentize({ sourcePath: 'app.js', witPath, worldName: 'http' });
await writeFile(output, component);
