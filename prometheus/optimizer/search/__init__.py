"""The search: relaxation, sides and branches, flips, the number of assets, and reasons why there is no answer."""
