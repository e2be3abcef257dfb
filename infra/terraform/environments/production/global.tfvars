relayer_lanes      = 6
routing_controls   = true
monthly_budget_usd = 9000
budget_emails      = ["platform@settlement.example"]

audit_lock  = { mode = "COMPLIANCE", days = 3653 } # ten years
backup_lock = { mode = "COMPLIANCE", days = 35 }
