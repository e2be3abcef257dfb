import {
  Module,
  type BeforeApplicationShutdown,
  type DynamicModule,
  type FactoryProvider,
  type ModuleMetadata,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import { startGrpcServer, type GrpcServerOptions, type RunningGrpcServer } from './grpc-server';

export const GRPC_SERVER = Symbol('GRPC_SERVER');

/** The gRPC server inside Nest: listens once everything else has started, drains before anything else closes. */
export class GrpcServerLifecycle implements OnApplicationBootstrap, BeforeApplicationShutdown {
  #running: RunningGrpcServer | undefined;

  constructor(
    private readonly options: GrpcServerOptions,
    private readonly drainMs: number,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    this.#running = await startGrpcServer(this.options);
    this.options.logger?.info({ host: this.options.host, port: this.#running.port }, 'gRPC is listening');
  }

  async beforeApplicationShutdown(): Promise<void> {
    const stopped = await this.#running?.stop(this.drainMs);
    if (stopped?.drained === false) this.options.logger?.warn({ drainMs: this.drainMs }, 'gRPC calls were cut after the drain time');
  }

  /** 0 before it listens. */
  get port(): number {
    return this.#running?.port ?? 0;
  }

  setServing(name: string, serving: boolean): void {
    this.#running?.setServing(name, serving);
  }
}

export interface GrpcModuleOptions {
  readonly imports?: NonNullable<ModuleMetadata['imports']>;
  readonly inject?: NonNullable<FactoryProvider['inject']>;
  readonly useFactory: (...dependencies: never[]) => GrpcServerOptions | Promise<GrpcServerOptions>;
  readonly drainMs?: number;
}

@Module({})
export class GrpcModule {
  /** Provides `GRPC_SERVER` as a `GrpcServerLifecycle`. */
  static register({ imports = [], inject = [], useFactory, drainMs = 10_000 }: GrpcModuleOptions): DynamicModule {
    return {
      module: GrpcModule,
      imports,
      providers: [
        {
          provide: GRPC_SERVER,
          inject,
          useFactory: async (...dependencies: never[]) => new GrpcServerLifecycle(await useFactory(...dependencies), drainMs),
        },
      ],
      exports: [GRPC_SERVER],
    };
  }
}
