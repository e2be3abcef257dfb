# What the regions share, as each environment wants it. Run with its plan.tfvars and global.tfvars. Planned against mocks.
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

run "environment" {
  command = plan

  assert {
    condition     = toset(keys(aws_ssm_parameter.primary)) == toset(keys(aws_ssm_parameter.secondary))
    error_message = "Each serving region is told the same things, so either can stand alone."
  }

  assert {
    condition     = alltrue([for name in keys(aws_ssm_parameter.witness) : startswith(name, "keys/")])
    error_message = "The witness is told keys for its own data, and neither signing keys nor public names."
  }

  assert {
    condition     = length(distinct(flatten([for pair in values(output.buckets) : values(pair)]))) == 4
    error_message = "Backups and audit have a bucket in each serving region."
  }

  assert {
    condition     = aws_budgets_budget.month.time_unit == "MONTHLY" && length(aws_budgets_budget.month.notification) == 2
    error_message = "Spending is watched, spent and forecast."
  }

  assert {
    condition     = var.environment != "production" || var.audit_lock.mode == "COMPLIANCE" && var.audit_lock.days >= 3650
    error_message = "Production's audit exports cannot be changed for ten years, by nobody."
  }
}
