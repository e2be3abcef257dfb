import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Registry, collectDefaultMetrics } from 'prom-client';
import { repositoryRoot } from '@settlement/config/repository-root';

/** Series that other programs offer, by who does: Prometheus itself, kube-state-metrics, CloudNativePG's exporter, cert-manager, Strimzi's. */
const FOREIGN = ['up', 'scrape_duration_seconds', 'kube_pod_container_resource_limits', 'kube_pod_container_status_restarts_total', 'kube_deployment_status_replicas_available', 'kube_job_status_failed', 'kube_job_failed', 'cnpg_collector_up', 'cnpg_collector_sync_replicas', 'cnpg_collector_fencing_on', 'cnpg_pg_replication_lag', 'cnpg_pg_replication_in_recovery', 'cnpg_pg_replication_streaming_replicas', 'cnpg_pg_stat_archiver_failed_count', 'cnpg_pg_stat_archiver_seconds_since_last_archival', 'cnpg_collector_first_recoverability_point', 'cnpg_collector_last_available_backup_timestamp', 'cnpg_collector_last_failed_backup_timestamp', 'certmanager_certificate_expiration_timestamp_seconds', 'certmanager_certificate_ready_status', 'kafka_server_replicamanager_underreplicatedpartitions', 'kafka_controller_kafkacontroller_offlinepartitionscount'];

/** Registered under names that are put together; apps/paymaster/src/service.int.spec.ts reads them from a running service. */
const COMPOSED = ['paymaster_sponsor_budget_wei', 'paymaster_sponsor_reserved_wei', 'paymaster_sponsor_available_wei'];

const METRIC = /\b(Counter|Gauge|Histogram|Summary)(?:<[^>]*>)?\(\{[^}]*?\bname: *['"`]([a-z_][a-z0-9_]*)['"`]/gs;
const HELPER = /\b(counter|gauge|histogram)(?:<[^>]*>)?\(\s*(?:\{[^}]*?\bname: *)?['"`]([a-z_][a-z0-9_]*)['"`]/gs;

/** Every series that the services register, those of histograms spelt out, with Node's own and the foreign ones. */
export async function offeredMetrics(): Promise<ReadonlySet<string>> {
  const offered = new Set([...FOREIGN, ...COMPOSED]);
  for (const area of ['apps', 'libs']) {
    for (const entry of readdirSync(join(repositoryRoot, area), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !entry.name.endsWith('.ts') || entry.name.endsWith('.spec.ts') || entry.parentPath.includes('node_modules') || !entry.parentPath.includes('/src')) continue;
      const text = readFileSync(join(entry.parentPath, entry.name), 'utf8');
      for (const pattern of [METRIC, HELPER]) {
        for (const [, type = '', name = ''] of text.matchAll(pattern)) {
          offered.add(name);
          offered.add(`settlement_${name}`);
          if (/histogram/i.test(type)) for (const part of ['bucket', 'sum', 'count']) for (const prefix of ['', 'settlement_']) offered.add(`${prefix}${name}_${part}`);
        }
      }
    }
  }
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const { name } of await registry.getMetricsAsJSON()) offered.add(name);
  registry.clear();
  return offered;
}
