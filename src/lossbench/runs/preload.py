"""What a process that trains runs imports: a list of names, for the server that forks such processes."""

RUN = (
    "lossbench.processes.server",
    "lossbench.runs.record",
    "lossbench.runs.execute",
    "lossbench.training.stacked.eligible",
    "lossbench.tracking.store.open",
    "mlflow.store.tracking.sqlalchemy_store",
    "torch._dynamo",  # torch's optimizers import it when the first of them is made: a second
)
