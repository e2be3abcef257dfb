# One line by itself. Planned against mocks.
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

run "one_line" {
  command = plan
  module {
    source = "../../modules/peering"
  }
  providers = {
    aws.a = aws.primary
    aws.b = aws.secondary
  }
  variables {
    name = "line"
    ends = {
      a = { region = "eu-central-1", vpc_id = "vpc-1", cidrs = ["10.1.0.0/16", "10.2.0.0/16"], route_tables = ["rtb-1", "rtb-2", "rtb-3"], zone_id = "Z1" }
      b = { region = "eu-west-1", vpc_id = "vpc-2", cidrs = ["10.3.0.0/16", "10.4.0.0/16"], route_tables = ["rtb-4", "rtb-5", "rtb-6"], zone_id = "Z2" }
    }
  }

  assert {
    condition     = length(aws_route.to_b) == 6 && length(aws_route.to_a) == 6
    error_message = "Three tables and two ranges, each way."
  }

  assert {
    condition     = toset([for route in aws_route.to_b : route.destination_cidr_block]) == toset(["10.3.0.0/16", "10.4.0.0/16"])
    error_message = "Routes lead to the other end, not to oneself."
  }
}

run "line_within_one_region" {
  command = plan
  module {
    source = "../../modules/peering"
  }
  providers = {
    aws.a = aws.primary
    aws.b = aws.secondary
  }
  variables {
    name = "line"
    ends = {
      a = { region = "eu-west-1", vpc_id = "vpc-1", cidrs = [], route_tables = [], zone_id = "Z1" }
      b = { region = "eu-west-1", vpc_id = "vpc-2", cidrs = [], route_tables = [], zone_id = "Z2" }
    }
  }
  expect_failures = [var.ends]
}
