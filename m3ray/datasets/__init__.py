"""Who the clips are: folders, tables, published data sets, the demo; their splits and the catalogue."""
