relayer_lanes      = 2
routing_controls   = false # their cluster alone would cost more than a month of drills
monthly_budget_usd = 600
budget_emails      = ["platform@settlement.example"]

# Short, and liftable with s3:BypassGovernanceRetention: drill data is worth nothing, and its account must be able to be emptied.
audit_lock  = { mode = "GOVERNANCE", days = 1 }
backup_lock = { mode = "GOVERNANCE", days = 7 }
