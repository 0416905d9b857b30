import streamlit as st

st.title("Infer")
