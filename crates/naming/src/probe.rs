//! The probe schedule.
