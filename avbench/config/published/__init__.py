"""The paper's figures in tidy form, one CSV a table, to be shown beside our own."""
