/** Absolute path of the clone; the bundler writes it in, since a bundle has no place of its own in the tree. */
export const repositoryRoot: string = process.env['SETTLEMENT_ROOT'] ?? process.cwd();
