"""Where whole states come from: booking's topic and answers (`states`), and this replica's own file (`file`)."""
