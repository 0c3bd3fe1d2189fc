-- What stood around the code of an execution: a line of JSON for each sandbox; null if there is none.

ALTER TABLE executions ADD COLUMN sandboxes text COLLATE "C";
