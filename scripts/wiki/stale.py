"""Hand-made lists: what the sources get wrong, and which national teams are well known."""

# Keys whose last state the Factbook never updated or misread (checked by eye): the holder had died
# or left before the cutoff or within the stream, or the text named somebody else.
STALE = {
    ("P35", "Oman"), ("P35", "Chad"), ("P35", "Eritrea"), ("P35", "United Arab Emirates"),
    ("P35", "Kuwait"), ("P35", "Nigeria"), ("P35", "Thailand"), ("P35", "Hong Kong"),
    ("P35", "Macau"), ("P35", "Faroe Islands"), ("P35", "Greenland"), ("P35", "Svalbard"),
    ("P35", "Aruba"), ("P35", "Curacao"), ("P35", "Sint Maarten"), ("P35", "The Gambia"),
    ("P6", "Oman"), ("P6", "Bahrain"), ("P6", "Romania"), ("P6", "Kuwait"), ("P6", "Qatar"),
    ("P6", "Saudi Arabia"), ("P6", "Portugal"), ("P6", "Eritrea"), ("P6", "Nigeria"),
    ("P6", "The Gambia"), ("P6", "French Polynesia"),
}  # fmt: skip

MATCH_TEAMS = frozenset("""
Argentina|Australia|Austria|Belgium|Brazil|Cameroon|Canada|Chile|China PR|Colombia|Costa Rica
Croatia|Czech Republic|Denmark|Ecuador|Egypt|England|France|Germany|Ghana|Greece|Hungary|Iceland
India|Iran|Israel|Italy|Ivory Coast|Jamaica|Japan|Mexico|Morocco|Netherlands|New Zealand|Nigeria
Northern Ireland|Norway|Panama|Paraguay|Peru|Poland|Portugal|Qatar|Republic of Ireland|Romania
Saudi Arabia|Scotland|Senegal|Serbia|Slovakia|Slovenia|South Africa|South Korea|Spain|Sweden
Switzerland|Tunisia|Turkey|Ukraine|United States|Uruguay|Venezuela|Wales
""".replace("\n", "|").strip("|").split("|"))

# One relation a team, so that no subject is more than a hundredth of the stream.
ONE_RELATION_OF_TEAM = {
    team: relation
    for relation, teams in {
        "last_opponent": "Argentina|England|Germany|Japan|Nigeria|Mexico|Canada|New Zealand",
        "last_result": "Brazil|France|Poland|Australia|Egypt|Jamaica|India|Switzerland",
        "last_city": "Spain|Italy|Colombia|South Korea|Senegal|United States|Norway|South Africa",
        "last_scorer": "Portugal|Netherlands|Belgium|Croatia|Morocco|Uruguay|Denmark|Scotland"
        "|Austria|Serbia",
    }.items()
    for team in teams.split("|")
}
