"""The agent's HTTP side: probes, metrics, log API, page; on TCP and on the control socket."""
