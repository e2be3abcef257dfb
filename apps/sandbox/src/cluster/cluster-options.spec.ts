import { InvalidInput } from '@settlement/kernel/errors';
import { describe, expect, it } from 'vitest';
import { clusterHelp, helpOf, parseClusterCommand } from './cluster-options';

const standard = { name: 'settlement', driver: 'auto', index: 1 };

describe('the options of npm run cluster', () => {
  it('start three nodes with operators when nothing else is said', () => {
    expect(parseClusterCommand(['up'])).toEqual({ verb: 'up', ...standard, nodes: 3, bare: false });
  });

  it('name, size and strip a cluster', () => {
    expect(parseClusterCommand(['up', '--name', 'east', '--nodes=2', '--index', '4', '--driver', 'own', '--bare'])).toEqual({ verb: 'up', name: 'east', driver: 'own', index: 4, nodes: 2, bare: true });
  });

  it('hand what belongs to deploy and demo on unread, and keep what names the cluster', () => {
    expect(parseClusterCommand(['deploy', '--tag', 'abc', '--name', 'east', '--timeout=30'])).toEqual({ verb: 'deploy', ...standard, name: 'east', rest: ['--tag', 'abc', '--timeout=30'] });
    expect(parseClusterCommand(['demo', '--json', '--driver=kind', '--payments', '40'])).toEqual({ verb: 'demo', ...standard, driver: 'kind', rest: ['--json', '--payments', '40'] });
  });

  it('take files to load, one at least', () => {
    expect(parseClusterCommand(['load', 'a.tar', 'b.tar'])).toEqual({ verb: 'load', ...standard, archives: ['a.tar', 'b.tar'] });
    expect(() => parseClusterCommand(['load'])).toThrow(InvalidInput);
  });

  it.each([
    [['sideways'], 'there is no verb sideways; there are up, deploy, demo, status, load, down'],
    [['up', '--nodes', '0'], '--nodes: expected 1 to 9'],
    [['up', '--nodes', '10'], '--nodes: expected 1 to 9'],
    [['up', '--index', 'x'], '--index: expected 1 to 9'],
    [['up', '--name', 'East'], '--name: expected at most 10 lower-case letters and digits, a letter first'],
    [['down', '--name', 'longerthanten'], '--name: expected at most 10 lower-case letters and digits, a letter first'],
    [['status', '--driver', 'minikube'], '--driver: expected auto, kind, own'],
    [['down', '--nodes', '2'], '--nodes: is an option of up'],
    [['up', '--json'], '--json: is an option of status'],
  ])('%j is refused: %s', (argv, message) => {
    expect(() => parseClusterCommand(argv)).toThrow(message);
  });

  it('refuse what they do not know', () => {
    expect(() => parseClusterCommand(['down', '--force'])).toThrow(InvalidInput);
    expect(() => parseClusterCommand(['down', 'east'])).toThrow(InvalidInput);
  });

  it.each([[[]], [['help']], [['--help']]])('%j asks for the list of verbs', (argv) => {
    expect(parseClusterCommand(argv)).toEqual({ verb: 'help' });
  });

  it.each(['up', 'deploy', 'demo', 'status', 'load', 'down'] as const)('%s has a help of its own that is in the list', (verb) => {
    expect(parseClusterCommand([verb, '--help'])).toEqual({ verb: 'help', of: verb });
    expect(helpOf(verb)).toContain('--help');
    expect(clusterHelp).toMatch(new RegExp(`^  ${verb} `, 'm'));
  });
});
