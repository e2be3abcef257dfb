// Prints the versions that a program started here would run.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const versionOf = (name) => {
  const path = require.resolve(name);
  const folder = `/node_modules/${name}/`;
  return require(`${path.slice(0, path.lastIndexOf(folder) + folder.length)}package.json`).version;
};
console.log(JSON.stringify(Object.fromEntries(['@x402/fetch', '@x402/express', 'x402-fetch', 'x402-express'].map((name) => [name, versionOf(name)]))));
