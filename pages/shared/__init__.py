"""What several pages share: state, messages, pickers, rendering, the job panel."""
