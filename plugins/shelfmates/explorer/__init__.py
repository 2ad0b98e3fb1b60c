"""The explorer: pages inside Airflow on which people look at nights, products, refused rows and audits.

`app` is its routes, `answers` what they tell, `lake_cache` what of the lake is kept at hand for them, `static/` the pages themselves.
"""
