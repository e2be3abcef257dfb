import { z } from 'zod';

// The part of a descriptor set (`buf build -o -#format=json`) that the conventions speak of.
const field = z.object({ name: z.string(), type: z.string(), label: z.string(), typeName: z.string().optional() });
const enumType = z.object({ name: z.string(), value: z.array(z.object({ name: z.string(), number: z.number().default(0) })) });
interface Message { name: string; field: z.output<typeof field>[]; nestedType: Message[]; enumType: z.output<typeof enumType>[] }
const message: z.ZodType<Message, unknown> = z.object({
  name: z.string(),
  field: z.array(field).default([]),
  nestedType: z.array(z.lazy(() => message)).default([]),
  enumType: z.array(enumType).default([]),
});
const method = z.object({ name: z.string(), inputType: z.string(), outputType: z.string() });
const file = z.object({
  name: z.string(),
  package: z.string().default(''),
  messageType: z.array(message).default([]),
  enumType: z.array(enumType).default([]),
  service: z.array(z.object({ name: z.string(), method: z.array(method).default([]) })).default([]),
});
const descriptorSet = z.object({ file: z.array(file) });

/** Questions whose answer moves money, budget or gas: a process asks them for all that a partition has ready at once. */
const decisions = ['Screen', 'Reserve', 'Submit', 'Release'];

/** A name that says "money": as minor units or wei, wherever the unit stands in it. */
const moneyName = /(^|_)(amount|minor|wei)(_|$)/;
const momentName = /(_at|_time|_timestamp|^timestamp|^time)(_(ms|us|s|seconds|millis))?$/;

const screaming = (name: string): string => name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase();

/** Every place where the contracts leave the conventions of CONTRIBUTING.md, as `place: what is wrong`; empty when none. */
export function checkProto(descriptors: unknown): string[] {
  const files = descriptorSet.parse(descriptors).file;
  const messages = new Map<string, Message>();
  const findings: string[] = [];

  const checkEnum = (place: string, { name, value }: z.output<typeof enumType>): void => {
    const [first] = value;
    const expected = `${screaming(name)}_UNSPECIFIED`;
    if (first?.name !== expected || first.number !== 0) findings.push(`${place}.${name}: begins with ${expected} = 0, so that an absent value is not a decision`);
  };

  const checkMessage = (place: string, it: Message): void => {
    const own = `${place}.${it.name}`;
    messages.set(`.${own}`, it);
    for (const each of it.field) checkField(`${own}.${each.name}`, each);
    it.enumType.forEach((each) => checkEnum(own, each));
    it.nestedType.forEach((each) => checkMessage(own, each));
  };

  const checkField = (place: string, { name, type, typeName }: z.output<typeof field>): void => {
    const isMoneyMessage = type === 'TYPE_MESSAGE' && typeName === '.settlement.common.v1.Money';
    if (type === 'TYPE_DOUBLE' || type === 'TYPE_FLOAT') findings.push(`${place}: no floating point on a wire`);
    else if (moneyName.test(name) && type !== 'TYPE_STRING' && !isMoneyMessage) findings.push(`${place}: money is a string of minor units or settlement.common.v1.Money`);
    if (name.endsWith('_ns') && type !== 'TYPE_INT64') findings.push(`${place}: nanoseconds are int64`);
    if (momentName.test(name) || typeName === '.google.protobuf.Timestamp') findings.push(`${place}: a moment is int64 nanoseconds and its name ends in _ns`);
  };

  for (const { package: place, messageType, enumType: enums } of files) {
    messageType.forEach((each) => checkMessage(place, each));
    enums.forEach((each) => checkEnum(place, each));
  }
  for (const { package: place, service } of files) {
    for (const { name, method: methods } of service) {
      for (const one of methods.filter((each) => decisions.includes(each.name))) {
        const many = methods.find((each) => each.name === `${one.name}Many`);
        const takes = (type: string, item: string): boolean =>
          messages.get(type)?.field.some((each) => each.label === 'LABEL_REPEATED' && each.typeName === item) === true;
        if (many === undefined) findings.push(`${place}.${name}.${one.name}: a decision also has a form for many, ${one.name}Many`);
        else if (!takes(many.inputType, one.inputType) || !takes(many.outputType, one.outputType)) {
          findings.push(`${place}.${name}.${many.name}: takes many of what ${one.name} takes and answers each`);
        }
      }
    }
  }
  return findings;
}
