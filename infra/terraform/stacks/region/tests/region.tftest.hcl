# A region as each environment wants it. Run with that environment's plan.tfvars and region.tfvars. Planned against mocks.
mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

run "primary" {
  command = plan

  variables {
    role = "primary"
  }

  assert {
    condition     = length(module.edge) == 1 && length(module.kafka) == 1
    error_message = "A serving region has an edge and a Kafka."
  }

  assert {
    condition     = sort(yamldecode(output.helm_values).postgres.voters) == sort([for role, region in var.regions : region.name if role != "primary"])
    error_message = "Exactly the two other regions acknowledge the primary's commits."
  }

  assert {
    condition     = yamldecode(output.helm_values).postgres.backup.enabled && module.postgres.backup.retention == "${var.recovery_window_days}d"
    error_message = "Backups and WAL reach back over the whole recovery window."
  }

  assert {
    condition     = alltrue([for cidr in yamldecode(output.helm_values).networkPolicy.apiServer.cidrs : startswith(cidr, join(".", slice(split(".", var.regions.primary.vpc_cidr), 0, 2)))])
    error_message = "Pods call the Kubernetes API of their own region."
  }

  assert {
    condition     = length(distinct(values(output.postgres_hosts))) == 3
    error_message = "Each region's Postgres has a name of its own."
  }
}

run "secondary" {
  command = plan

  variables {
    role = "secondary"
  }

  assert {
    condition     = length(module.edge) == 1 && length(module.kafka) == 1
    error_message = "The secondary is as complete as the primary."
  }

  assert {
    condition     = sort(yamldecode(output.helm_values).postgres.voters) == sort([for role, region in var.regions : region.name if role != "secondary"])
    error_message = "Exactly the two other regions acknowledge the secondary's commits, once it is the writer."
  }

  assert {
    condition     = yamldecode(output.helm_values).postgres.backup.enabled
    error_message = "The secondary archives too: it may be the writer tomorrow."
  }
}

run "witness" {
  command = plan

  variables {
    role = "witness"
  }

  assert {
    condition     = length(module.edge) == 0 && length(module.kafka) == 0
    error_message = "The witness has no public door and no Kafka."
  }

  assert {
    condition     = yamldecode(output.helm_values).region.role == "witness" && yamldecode(output.helm_values).postgres.instances == 1 && !yamldecode(output.helm_values).postgres.backup.enabled
    error_message = "The witness is one Postgres that votes and archives nothing."
  }

  assert {
    condition     = length([for name in keys(output.identities) : name if contains(["relayer", "paymaster"], name)]) == 0
    error_message = "Nobody in the witness can sign."
  }
}
