//! LocalStack stands still, or is started again without its memory, while a worker runs.
