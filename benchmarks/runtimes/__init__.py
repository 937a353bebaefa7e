"""Native runtimes in processes of their own: stand-alone runner scripts and their other end."""
