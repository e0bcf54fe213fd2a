"""Files to validated rows; defects are findings."""
