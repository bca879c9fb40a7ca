"""Looking at compositions: what their mechanisms attend to, and in what two of them differ."""
