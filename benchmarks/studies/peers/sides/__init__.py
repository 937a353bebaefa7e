"""One script for each tool: what it does with a job, run by the interpreter that has the tool."""
