//! A real Dovecot as the host of scenarios.
