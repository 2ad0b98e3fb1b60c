"""The explorer: pages inside Airflow on which people look at nights, products, refused rows and audits.

`app` is its routes, `answers` what they tell, `shelf` what of the lake is held at hand for them, `static/` the pages themselves.
"""
