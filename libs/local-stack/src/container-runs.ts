import { StartupCheckStrategy, type ContainerRuntimeClient, type StartupStatus } from 'testcontainers';

type Docker = ContainerRuntimeClient['container']['dockerode'];

/**
 * Waits until the container's process runs and no longer: whether what is inside answers is asked from outside afterwards, as its
 * users ask. Testcontainers' own way runs a shell inside as well, and Podman 4.3 may have forgotten that one by the time it is
 * asked how it ended ("no exec session with ID"): seen when two containers started at once.
 */
export class ContainerRuns extends StartupCheckStrategy {
  override async checkStartupState(docker: Docker, containerId: string): Promise<StartupStatus> {
    const { State } = await docker.getContainer(containerId).inspect();
    if (State.Running) return 'SUCCESS';
    return State.Status === 'exited' || State.Dead ? 'FAIL' : 'PENDING';
  }
}
