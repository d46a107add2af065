"""Parts of the page that Gradio has not: plain functions from records to escaped HTML."""
