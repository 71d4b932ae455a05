"""From films and reports to the dataset folder and back; torch-free."""
