"""Games in, bundles out: reading seasons, training, calibrating and evaluating."""
