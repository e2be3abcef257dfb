# A region's place for state. Planned against mocks.
mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  environment = "production"
  account_id  = "111122223333"
  region      = "eu-central-1"
}

run "first_pass" {
  command = plan

  assert {
    condition     = length(aws_s3_bucket_replication_configuration.state) == 0 && output.bucket == "settlement-production-state-eu-central-1-111122223333"
    error_message = "The first pass makes the bucket that the backend files name."
  }

  assert {
    condition     = aws_kms_key.state.enable_key_rotation
    error_message = "The key of the state rotates."
  }
}

run "with_a_copy" {
  command = plan
  variables {
    replica = { region = "eu-west-1", kms_key_arn = "arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000001" }
  }

  assert {
    condition     = aws_s3_bucket_replication_configuration.state[0].rule[0].destination[0].bucket == "arn:aws:s3:::settlement-production-state-eu-west-1-111122223333"
    error_message = "The copy of the state is in another region."
  }

  assert {
    condition     = aws_s3_bucket_replication_configuration.state[0].rule[0].filter[0].prefix == "states/eu-central-1/"
    error_message = "A region copies its own states only, so that two buckets never copy each other's copies."
  }
}

run "copy_in_the_same_region" {
  command = plan
  variables {
    replica = { region = "eu-central-1", kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-000000000001" }
  }
  expect_failures = [var.replica]
}

run "no_region" {
  command = plan
  variables {
    region = "Frankfurt"
  }
  expect_failures = [var.region]
}
