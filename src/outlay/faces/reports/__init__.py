"""A report in every form: for a terminal, as Markdown, CSV and HTML, and sent on a schedule."""
