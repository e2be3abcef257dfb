# The modules over several regions by themselves. Planned against mocks.
mock_provider "aws" {
  alias           = "primary"
  source          = "../../mocks"
  override_during = plan
}

mock_provider "aws" {
  alias           = "secondary"
  source          = "../../mocks"
  override_during = plan
}

mock_provider "aws" {
  alias           = "witness"
  source          = "../../mocks"
  override_during = plan
}

variables {
  prefix = "settlement-test"
}

run "kms" {
  command = plan
  module {
    source = "../../modules/kms"
  }
  providers = {
    aws.primary   = aws.primary
    aws.secondary = aws.secondary
    aws.witness   = aws.witness
  }
  variables {
    account_id = "111122223333"
    regions    = { primary = "eu-central-1", secondary = "eu-west-1", witness = "eu-north-1" }
    signing    = { relayer-0 = "relayer" }
  }

  assert {
    condition     = alltrue([for key in aws_kms_key.this : key.multi_region]) && keys(aws_kms_key.this) == keys(aws_kms_replica_key.secondary)
    error_message = "Each key exists in both serving regions, as the same key."
  }

  assert {
    condition     = alltrue([for key in aws_kms_key.this : key.enable_key_rotation if key.key_usage == "ENCRYPT_DECRYPT"])
    error_message = "Encryption keys rotate."
  }

  assert {
    condition     = aws_kms_key.this["relayer-0"].customer_master_key_spec == "ECC_SECG_P256K1" && !contains(keys(aws_kms_replica_key.witness), "relayer-0")
    error_message = "A signing key is secp256k1 and not in the witness."
  }

  assert {
    condition     = alltrue([for key in aws_kms_key.this : key.deletion_window_in_days == 30]) && alltrue([for key in aws_kms_replica_key.secondary : key.deletion_window_in_days == 30])
    error_message = "A deletion can be noticed for 30 days."
  }

  assert {
    condition = alltrue([for statement in jsondecode(aws_kms_replica_key.secondary["relayer-0"].policy).Statement :
    !contains(statement.Action, "kms:Sign") || try(statement.Condition.ArnEquals["aws:PrincipalArn"], "anybody") == "arn:aws:iam::111122223333:role/settlement-test-eu-west-1-relayer"])
    error_message = "In each region only that region's relayer signs."
  }
}

run "storage" {
  command = plan
  module {
    source = "../../modules/storage"
  }
  providers = {
    aws.primary   = aws.primary
    aws.secondary = aws.secondary
  }
  variables {
    purpose         = "audit"
    object_lock     = { mode = "COMPLIANCE", days = 3653 }
    noncurrent_days = 3683
    buckets = {
      primary   = { name = "audit-a", kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/mrk-a" }
      secondary = { name = "audit-b", kms_key_arn = "arn:aws:kms:eu-west-1:111122223333:key/mrk-a" }
    }
  }

  assert {
    condition     = aws_s3_bucket_replication_configuration.primary.rule[0].destination[0].bucket == "arn:aws:s3:::audit-b" && aws_s3_bucket_replication_configuration.secondary.rule[0].destination[0].bucket == "arn:aws:s3:::audit-a"
    error_message = "Each bucket is the other's replica."
  }

  assert {
    condition = alltrue([for rule in [aws_s3_bucket_replication_configuration.primary.rule[0], aws_s3_bucket_replication_configuration.secondary.rule[0]] :
      rule.status == "Enabled" && rule.destination[0].replication_time[0].status == "Enabled" && rule.destination[0].metrics[0].status == "Enabled" && rule.delete_marker_replication[0].status == "Disabled"
    ])
    error_message = "Replication is timed and measured, and carries no deletions."
  }
}

run "storage_of_one_bucket_and_versions_shorter_than_the_lock" {
  command = plan
  module {
    source = "../../modules/storage"
  }
  providers = {
    aws.primary   = aws.primary
    aws.secondary = aws.secondary
  }
  variables {
    purpose         = "audit"
    object_lock     = { mode = "COMPLIANCE", days = 3653 }
    noncurrent_days = 30
    buckets = {
      primary   = { name = "audit-a", kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/mrk-a" }
      secondary = { name = "audit-a", kms_key_arn = "arn:aws:kms:eu-west-1:111122223333:key/mrk-a" }
    }
  }
  expect_failures = [var.buckets, var.noncurrent_days]
}

run "traffic" {
  command = plan
  module {
    source = "../../modules/traffic"
  }
  providers = {
    aws.primary   = aws.primary
    aws.secondary = aws.secondary
  }
  variables {
    domain           = "settlement.example"
    api_host         = "api.settlement.example"
    edges            = { primary = "eu-central-1.edge.settlement.example", secondary = "eu-west-1.edge.settlement.example" }
    routing_controls = true
  }

  assert {
    condition     = alltrue([for record in aws_route53_record.api : record.health_check_id != null && record.alias[0].evaluate_target_health])
    error_message = "Each answer for the API hangs on health, of the edge from outside and of its targets."
  }

  assert {
    condition     = alltrue([for check in aws_route53_health_check.edge : check.type == "HTTPS" && check.resource_path == "/health/ready" && check.request_interval == 10])
    error_message = "Health is the readiness that clients would meet, asked every 10 s."
  }

  assert {
    condition     = aws_route53recoverycontrolconfig_safety_rule.one_on[0].rule_config[0].threshold == 1
    error_message = "Hand switches cannot take out both regions."
  }
}

run "traffic_by_health_alone" {
  command = plan
  module {
    source = "../../modules/traffic"
  }
  providers = {
    aws.primary   = aws.primary
    aws.secondary = aws.secondary
  }
  variables {
    domain           = "settlement.example"
    api_host         = "api.settlement.example"
    edges            = { primary = "eu-central-1.edge.settlement.example", secondary = "eu-west-1.edge.settlement.example" }
    routing_controls = false
  }

  assert {
    condition     = alltrue([for check in aws_route53_health_check.region : check.child_health_threshold == 1 && length(check.child_healthchecks) == 1])
    error_message = "Without hand switches health decides alone."
  }
}

run "traffic_to_one_region" {
  command = plan
  module {
    source = "../../modules/traffic"
  }
  providers = {
    aws.primary   = aws.primary
    aws.secondary = aws.secondary
  }
  variables {
    domain            = "settlement.example"
    api_host          = "api.settlement.example"
    edges             = { primary = "eu-central-1.edge.settlement.example" }
    routing_controls  = false
    failure_threshold = 10
  }
  expect_failures = [var.edges, var.failure_threshold]
}

run "secrets_in_one_region" {
  command = plan
  module {
    source = "../../modules/secrets"
  }
  providers = {
    aws = aws.primary
  }
  variables {
    environment = "drill"
    names       = ["gateway"]
    kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/mrk-a"
    replicas    = {}
  }
  expect_failures = [var.replicas]
}

run "unlocked_and_unwatched" {
  command = plan
  variables {
    backup_lock        = { mode = "GOVERNANCE", days = 1 }
    monthly_budget_usd = 0
    budget_emails      = []
    relayer_lanes      = 0
  }
  expect_failures = [var.backup_lock, var.monthly_budget_usd, var.budget_emails, var.relayer_lanes]
}
