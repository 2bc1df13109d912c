"""Files that users open: AnnData results and exports to other software."""
