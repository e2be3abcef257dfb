# The lines between three regions. Run with an environment's plan.tfvars. Planned against mocks.
mock_provider "aws" {
  alias           = "primary"
  override_during = plan

  mock_data "aws_ssm_parameter" {
    defaults = { insecure_value = "rtb-1a,rtb-1b,rtb-1c" }
  }
}

mock_provider "aws" {
  alias           = "secondary"
  override_during = plan

  mock_data "aws_ssm_parameter" {
    defaults = { insecure_value = "rtb-2a,rtb-2b,rtb-2c" }
  }
}

mock_provider "aws" {
  alias           = "witness"
  override_during = plan

  mock_data "aws_ssm_parameter" {
    defaults = { insecure_value = "rtb-3a,rtb-3b,rtb-3c" }
  }
}

run "lines" {
  command = plan

  assert {
    condition     = alltrue([for end in values(local.ends) : length(end.route_tables) == 3 && length(end.cidrs) == 2])
    error_message = "Each zone's table leads to the other regions' nodes and pods."
  }
}
