import { readFileSync } from 'node:fs';

export interface Usage {
  /** User and system time, seconds since the process began. */
  readonly cpuSeconds: number;
  /** Proportional set size: what processes share (Postgres' buffers) is divided among them. */
  readonly memoryMiB: number;
}

/** Linux counts processor time in ticks of 10 ms (USER_HZ is 100 on every architecture that Node runs on). */
const TICKS_PER_SECOND = 100;

/** Of one process, from /proc; undefined where there is none. */
export function usageOf(pid: number): Usage | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const resident = /^Pss:\s+([0-9]+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'));
    return { cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND, memoryMiB: Number(resident?.[1] ?? '0') / 1024 };
  } catch {
    return undefined;
  }
}

/** Of a process and all its descendants (Postgres is a family of processes). */
export function usageOfFamily(pid: number): Usage {
  const own = usageOf(pid) ?? { cpuSeconds: 0, memoryMiB: 0 };
  let children: string[] = [];
  try {
    children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ').filter(Boolean);
  } catch {
    return own;
  }
  return children.map((child) => usageOfFamily(Number(child))).reduce((a, b) => ({ cpuSeconds: a.cpuSeconds + b.cpuSeconds, memoryMiB: a.memoryMiB + b.memoryMiB }), own);
}
