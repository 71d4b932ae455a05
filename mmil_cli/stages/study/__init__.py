"""Study: claims, the cells that decide them, and the rule by which they are decided."""
