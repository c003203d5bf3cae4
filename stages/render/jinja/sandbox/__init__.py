"""The sandbox of chat templates: what Jinja may do (`environment`), in a process with limits (`process`, `worker`)."""
