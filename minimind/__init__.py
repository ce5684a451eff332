"""The library: seven stages from documents to a registered model. Knows nothing of Prefect."""
