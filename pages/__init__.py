"""The screen: one folder per section of the menu, one file per page. Only this package imports Streamlit."""
