import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { repositoryRoot } from '@settlement/config/repository-root';
import { isObject, spell, type Json, type Step } from '../manifests';

/**
 * What a type declaration of the `kubernetes-models` packages allows. Their own validators are generated from the same
 * OpenAPI documents but let unknown fields pass, so a misspelt field would be ignored as silently as some clients do; the
 * declarations name every field there is.
 */
export type Shape =
  | { readonly is: 'any' }
  | { readonly is: 'string' | 'number' | 'boolean' | 'null' }
  | { readonly is: 'literal'; readonly value: Json }
  | { readonly is: 'list'; readonly item: () => Shape }
  | { readonly is: 'either'; readonly of: readonly Shape[] }
  | { readonly is: 'object'; readonly fields: ReadonlyMap<string, Field>; readonly others: (() => Shape) | undefined };

interface Field {
  readonly required: boolean;
  readonly shape: () => Shape;
}

export interface Finding {
  readonly path: readonly Step[];
  readonly reason: string;
}

interface DeclarationFile {
  readonly path: string;
  readonly types: ReadonlyMap<string, ts.InterfaceDeclaration | ts.TypeAliasDeclaration>;
  /** Imported name → file that declares it. */
  readonly imports: ReadonlyMap<string, string>;
  /** Exported alias → name in the file. */
  readonly aliases: ReadonlyMap<string, string>;
}

const files = new Map<string, DeclarationFile>();
const shapes = new Map<string, Shape>();
const ANY: Shape = { is: 'any' };

/** The shape of an interface or alias in a declaration file. Throws where the declaration uses what is not understood here. */
export function declaredShape(path: string, name: string): Shape {
  const key = `${path}#${name}`;
  const known = shapes.get(key);
  if (known !== undefined) return known;
  const file = read(path);
  const declaration = file.types.get(file.aliases.get(name) ?? name);
  if (declaration === undefined) throw new Error(`${path} declares no ${name}`);
  const shape = ts.isInterfaceDeclaration(declaration) ? objectShape(declaration.members, file, inherited(declaration, file)) : shapeOf(declaration.type, file);
  shapes.set(key, shape);
  return shape;
}

function inherited(declaration: ts.InterfaceDeclaration, file: DeclarationFile): [string, Field][] {
  const parents = (declaration.heritageClauses ?? []).flatMap((clause) => clause.types.map((type) => type.expression.getText()));
  return parents.flatMap((parent): [string, Field][] => {
    if (parent === 'TypeMeta') return (['apiVersion', 'kind'] as const).map((name) => [name, { required: true, shape: () => ({ is: 'string' }) }]);
    const shape = declaredShape(file.imports.get(parent) ?? file.path, parent);
    if (shape.is !== 'object') throw new Error(`${file.path}: ${parent} is no interface`);
    return [...shape.fields];
  });
}

function objectShape(members: readonly ts.TypeElement[], file: DeclarationFile, start: [string, Field][] = []): Shape {
  const fields = new Map<string, Field>(start);
  let others: (() => Shape) | undefined;
  for (const member of members) {
    if (ts.isIndexSignatureDeclaration(member)) others = () => shapeOf(member.type, file);
    else if (ts.isPropertySignature(member) && member.type !== undefined && (ts.isStringLiteral(member.name) || ts.isIdentifier(member.name))) {
      const { type } = member;
      fields.set(member.name.text, { required: member.questionToken === undefined, shape: () => shapeOf(type, file) });
    } else throw new Error(`${file.path}: a member is not understood: ${member.getText()}`);
  }
  return { is: 'object', fields, others };
}

function shapeOf(type: ts.TypeNode, file: DeclarationFile): Shape {
  switch (type.kind) {
    case ts.SyntaxKind.StringKeyword:
      return { is: 'string' };
    case ts.SyntaxKind.NumberKeyword:
      return { is: 'number' };
    case ts.SyntaxKind.BooleanKeyword:
      return { is: 'boolean' };
    case ts.SyntaxKind.AnyKeyword:
    case ts.SyntaxKind.UnknownKeyword:
    case ts.SyntaxKind.ObjectKeyword:
      return ANY;
    default:
      break;
  }
  if (ts.isTypeLiteralNode(type)) return objectShape([...type.members], file);
  if (ts.isParenthesizedTypeNode(type)) return shapeOf(type.type, file);
  if (ts.isUnionTypeNode(type)) return { is: 'either', of: type.types.map((each) => shapeOf(each, file)) };
  if (ts.isArrayTypeNode(type)) return { is: 'list', item: () => shapeOf(type.elementType, file) };
  if (ts.isLiteralTypeNode(type)) return literalShape(type, file);
  if (ts.isTypeReferenceNode(type) && ts.isIdentifier(type.typeName)) return referredShape(type, type.typeName.text, file);
  throw new Error(`${file.path}: a type is not understood: ${type.getText()}`);
}

function literalShape({ literal }: ts.LiteralTypeNode, file: DeclarationFile): Shape {
  if (literal.kind === ts.SyntaxKind.NullKeyword) return { is: 'null' };
  if (ts.isStringLiteral(literal)) return { is: 'literal', value: literal.text };
  if (ts.isNumericLiteral(literal)) return { is: 'literal', value: Number(literal.text) };
  if (literal.kind === ts.SyntaxKind.TrueKeyword) return { is: 'literal', value: true };
  if (literal.kind === ts.SyntaxKind.FalseKeyword) return { is: 'literal', value: false };
  throw new Error(`${file.path}: a literal is not understood: ${literal.getText()}`);
}

function referredShape(type: ts.TypeReferenceNode, name: string, file: DeclarationFile): Shape {
  const [argument] = type.typeArguments ?? [];
  if (name === 'Array' && argument !== undefined) return { is: 'list', item: () => shapeOf(argument, file) };
  const elsewhere = file.imports.get(name);
  return declaredShape(elsewhere ?? file.path, name);
}

function read(path: string): DeclarationFile {
  const known = files.get(path);
  if (known !== undefined) return known;
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true);
  const types = new Map<string, ts.InterfaceDeclaration | ts.TypeAliasDeclaration>();
  const imports = new Map<string, string>();
  const aliases = new Map<string, string>();
  for (const statement of source.statements) {
    if (ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement)) types.set(statement.name.text, statement);
    if (ts.isImportDeclaration(statement) && ts.isStringLiteral(statement.moduleSpecifier)) {
      const bindings = statement.importClause?.namedBindings;
      if (bindings !== undefined && ts.isNamedImports(bindings)) {
        for (const element of bindings.elements) imports.set(element.name.text, declarationFile(path, statement.moduleSpecifier.text));
      }
    }
    if (ts.isExportDeclaration(statement) && statement.exportClause !== undefined && ts.isNamedExports(statement.exportClause)) {
      for (const element of statement.exportClause.elements) aliases.set(element.name.text, element.propertyName?.text ?? element.name.text);
    }
  }
  const file = { path, types, imports, aliases };
  files.set(path, file);
  return file;
}

function declarationFile(from: string, specifier: string): string {
  if (specifier.startsWith('.')) return join(dirname(from), specifier.replace(/\.js$/, '.d.ts'));
  return join(repositoryRoot, 'node_modules', `${specifier}.d.ts`);
}

/** Every place where a value is not what its shape says: unknown and missing fields, wrong types, unknown words. */
export function differences(value: Json, shape: Shape, path: readonly Step[] = []): Finding[] {
  if (shape.is === 'any') return [];
  if (value === null && shape.is !== 'null' && shape.is !== 'either') return [{ path, reason: 'is empty (null), which the API server drops or refuses' }];
  switch (shape.is) {
    case 'string':
    case 'number':
    case 'boolean':
      return typeof value === shape.is ? [] : [{ path, reason: `expected a ${shape.is} but found ${show(value)}` }];
    case 'null':
      return value === null ? [] : [{ path, reason: 'expected null' }];
    case 'literal':
      return value === shape.value ? [] : [{ path, reason: `expected ${show(shape.value)} but found ${show(value)}` }];
    case 'list':
      return Array.isArray(value) ? value.flatMap((item: Json, index) => differences(item, shape.item(), [...path, index])) : [{ path, reason: `expected a list but found ${show(value)}` }];
    case 'either': {
      const tries = shape.of.map((each) => differences(value, each, path));
      if (tries.some((findings) => findings.length === 0)) return [];
      const words = shape.of.flatMap((each) => (each.is === 'literal' ? [show(each.value)] : [each.is]));
      return [{ path, reason: `expected one of ${words.join(', ')} but found ${show(value)}` }];
    }
    case 'object':
      return isObject(value) ? objectDifferences(value, shape, path) : [{ path, reason: `expected an object but found ${show(value)}` }];
  }
}

function objectDifferences(value: { readonly [key: string]: Json | undefined }, shape: Extract<Shape, { is: 'object' }>, path: readonly Step[]): Finding[] {
  const findings: Finding[] = [];
  for (const [name, content] of Object.entries(value)) {
    const known = shape.fields.get(name)?.shape ?? shape.others;
    if (known === undefined) findings.push({ path: [...path, name], reason: `is no field of ${path.length === 0 ? 'this kind' : spell(path)}` });
    else if (content !== undefined) findings.push(...differences(content, known(), [...path, name]));
  }
  for (const [name, { required }] of shape.fields) {
    if (required && value[name] === undefined) findings.push({ path: [...path, name], reason: 'is missing' });
  }
  return findings;
}

function show(value: Json): string {
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
