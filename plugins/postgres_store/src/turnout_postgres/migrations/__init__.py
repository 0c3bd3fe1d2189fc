"""The tables, as numbered files of SQL: a file that was released is never changed, the next one changes the tables."""
