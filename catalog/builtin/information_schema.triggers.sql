-- Triggers (none).
-- oid 12107
CREATE TABLE information_schema.triggers (
  trigger_catalog text,
  trigger_schema text,
  trigger_name text,
  event_manipulation text,
  event_object_catalog text,
  event_object_schema text,
  event_object_table text,
  action_order integer,
  action_condition text,
  action_statement text,
  action_orientation text,
  action_timing text,
  action_reference_old_table text,
  action_reference_new_table text,
  action_reference_old_row text,
  action_reference_new_row text,
  created timestamp with time zone
);
