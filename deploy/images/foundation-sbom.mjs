// The bill of materials of an image that holds others' programs only (Postgres, Kafka), from files taken out of its archive.
// Usage: node deploy/images/foundation-sbom.mjs NAME FOLDER OUTFILE SECONDS
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bill, debianComponents, jarComponents } from './sbom.mjs';

const [name, folder, outfile, seconds] = process.argv.slice(2);
const components = [...debianComponents(folder), ...jarComponents(join(folder, 'opt/kafka/lib'))];
const title = { postgresql: 'PostgreSQL for local clusters and tests', kafka: 'Apache Kafka for local clusters and tests' }[name];
const main = components.find((component) => component.name === { postgresql: 'postgresql-15', kafka: 'kafka_2.13' }[name]);
writeFileSync(outfile, `${JSON.stringify(bill({ name: `settlement-${name}`, title, version: main?.version ?? 'unknown', license: { postgresql: 'PostgreSQL', kafka: 'Apache-2.0' }[name], epochSeconds: Number(seconds), components }), undefined, 1)}\n`);
