"""Problem files: one account's rebalancing in, the engine's answer out, with no engine and no database around it."""
